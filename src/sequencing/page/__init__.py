"""What the page about one or several runs is made of: one file for each kind of section."""
