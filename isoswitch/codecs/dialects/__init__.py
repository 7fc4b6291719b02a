"""How each kind of endpoint encodes and means its fields."""
