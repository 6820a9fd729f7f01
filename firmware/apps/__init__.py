"""What a person uses: the wallet and the terminal, one file per flow."""
