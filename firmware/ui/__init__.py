"""What a person sees and types. Knows no display chip, no keypad chip and no payment."""
