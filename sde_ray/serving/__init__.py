"""Serving: a trained adapter at work, on a file of rows or behind an address.

jsonl_rows.py       rows of a JSONL file, in and out; nobody's line stops the others
output_file.py      a file of answers that a second attempt continues
predict_stream.py   rows in, rows out, chunk by chunk; progress.py how far it is
server.py           an application behind a socket; app.py its endpoints, guard.py what every request goes through
requests.py         bodies of requests as texts; responses.py answers as bodies; counters.py what was done
batcher.py          texts of many requests, answered together
"""
