"""The commands of `sequencing`, a module each. What both floors can do is done by the ground floor's commands."""
