"""The store of captured traffic: tables by hour, aggregates that merge, incremental updates."""
