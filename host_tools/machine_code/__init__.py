"""Machine code for the boards, generated: instruction libraries and what is built from them."""
