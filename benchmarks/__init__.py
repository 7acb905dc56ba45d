"""Scripts that measure and print JSON; numbers in the documentation come from them."""
