"""Groups of objects that nobody named, copies among them, and rows for programs that draw them."""
