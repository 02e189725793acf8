"""Fuzz the parser of side-cars.

python tests/fuzz/fuzz_index.py -max_total_time=60 tests/fuzz/corpus/index
"""

from driving import drive

if __name__ == "__main__":
    drive("index")
