"""Fuzz JSON of samples, records, recipes and lists of shards.

python tests/fuzz/fuzz_record.py -max_total_time=60 tests/fuzz/corpus/record
"""

from driving import drive

if __name__ == "__main__":
    drive("record")
