"""Questions of every kind, and how their answers are chosen."""
