"""What differs between chips, behind the same functions: one module per port, named by `board.PORT`.

A port knows nothing of payments or chips; nothing outside this package asks on which port it runs.
"""
