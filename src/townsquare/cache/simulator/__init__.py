"""A simulated world around real caches: several processes, a database, a shared cache, a network, and everything that can go
wrong with them, on a clock of its own.

What is simulated is only what surrounds the cache. `Cache`, `Contact` and all below them are the code that runs in
production. A judge sees every read and knows what its reader was entitled to.

`python -m townsquare.cache.simulator` runs it to be watched; the state machine in `tests/cache` plays with the same world.
"""
