"""Text files as the world makes them, read to rows and cleaned to pairs."""
