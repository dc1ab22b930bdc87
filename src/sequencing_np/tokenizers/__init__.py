"""Tokenizers of other programs: SentencePiece models and Hugging Face tokenizer.json files, in plain Python."""
