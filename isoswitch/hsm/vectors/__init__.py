"""Published test vectors of all payment functions, and the checks that run them."""
