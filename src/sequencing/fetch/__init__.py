"""Public corpora, fetched from where their makers put them: `sequencing fetch`."""
