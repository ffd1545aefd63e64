"""Pictures: one comes in, light ones of four sizes and four formats come out, and nothing hostile gets through.

Knows nothing of services. `pool.Pool` is the way in: it works in processes of its own, which may crash, hang or swell
without harm; the process that asks never loads the decoder. Without pyvips all that needs it raises `Unavailable`.
"""
