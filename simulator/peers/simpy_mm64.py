"""M/M/64 at 85 % load, 300,000 arrivals, in SimPy 4: `pip install simpy`, then `python3 simpy_mm64.py`."""

import random
import time

import simpy

SERVERS, SERVICE_S, LOAD, ARRIVALS = 64, 10.0, 0.85, 300_000


def customer(env, servers, draw, waits):
    came = env.now
    with servers.request() as request:
        yield request
        waits.append(env.now - came)
        yield env.timeout(draw.expovariate(1 / SERVICE_S))


def source(env, servers, draw, waits):
    for _ in range(ARRIVALS):
        yield env.timeout(draw.expovariate(LOAD * SERVERS / SERVICE_S))
        env.process(customer(env, servers, draw, waits))


def main():
    env, draw, waits = simpy.Environment(), random.Random(42), []
    servers = simpy.Resource(env, capacity=SERVERS)
    env.process(source(env, servers, draw, waits))
    began = time.perf_counter()
    env.run()
    elapsed_s = time.perf_counter() - began
    # An arrival and a departure each, as the other engines count.
    print(f"| SimPy {simpy.__version__} | {2 * ARRIVALS} | {sum(waits) / ARRIVALS:.4f} | {elapsed_s:.3f} "
          f"| {2 * ARRIVALS / elapsed_s / 1e6:.3f} |")


if __name__ == "__main__":
    main()
