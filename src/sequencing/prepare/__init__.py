"""From files as the world makes them to a folder that training reads: `sequencing prepare`, one file for each stage."""
