"""Seed experiments: small networks, one budget, several seeds, and the page that shows what came of them."""
