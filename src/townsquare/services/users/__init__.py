"""users: people, their accounts, and what stands between them."""
