"""Benchmarks: each figure against a named peer in the same run, interleaved, as median and spread."""
