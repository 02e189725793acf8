"""Fuzz the scanner of tar shards.

python tests/fuzz/fuzz_tar.py -max_total_time=60 tests/fuzz/corpus/tar
"""

from driving import drive

if __name__ == "__main__":
    drive("tar")
