"""Chips and the air between them, replaced at byte level, so that the real firmware runs unchanged."""
