"""Separate encoders into one space: losses, heads and towers, and the loop that trains them."""
