"""The demo's story: a central bank, two operators, five devices, a day of payments without a network, the reckoning."""
