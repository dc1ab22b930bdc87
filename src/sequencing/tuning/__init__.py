"""A search for hyper-parameters: settings drawn from a space, each tried as a run of its own."""
