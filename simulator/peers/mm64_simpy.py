"""M/M/c on SimPy, as its own examples write it: a process per generation, and a Resource for the workers.

Arguments: workers, arrivals per hour, mean length in seconds, horizon in hours. Prints SimPy's version, the seconds that
the run took, arrivals, completions, generations started, and the seconds that those waited in all.
"""

import random
import sys
import time

import simpy


class Seen:
    arrivals = 0
    completions = 0
    started = 0
    waits_s = 0.0


def generation(env, workers, length_mean_s, draw, seen):
    submitted = env.now
    with workers.request() as worker:
        yield worker
        seen.started += 1
        seen.waits_s += env.now - submitted
        yield env.timeout(draw.expovariate(1 / length_mean_s))
    seen.completions += 1


def arrivals(env, workers, gap_mean_s, length_mean_s, draw, seen):
    while True:
        yield env.timeout(draw.expovariate(1 / gap_mean_s))
        seen.arrivals += 1
        env.process(generation(env, workers, length_mean_s, draw, seen))


def main():
    workers_max, per_hour, length_mean_s, hours = (float(word) for word in sys.argv[1:])
    draw = random.Random(42)
    seen = Seen()
    env = simpy.Environment()
    workers = simpy.Resource(env, capacity=int(workers_max))
    env.process(arrivals(env, workers, 3600 / per_hour, length_mean_s, draw, seen))
    start = time.perf_counter()
    env.run(until=3600 * hours)
    seconds = time.perf_counter() - start
    print(simpy.__version__, seconds, seen.arrivals, seen.completions, seen.started, seen.waits_s)


if __name__ == "__main__":
    main()
