"""Kept HTTP answers: finished bytes, found before any routing, sent inside the server's protocol or as ASGI middleware."""
