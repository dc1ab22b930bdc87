"""A model looked into while it translates: its search, its attention, its doubts and its errors, as one page."""
