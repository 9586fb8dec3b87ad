"""What scripts/bench.py is made of.

main.py reads the options and goes through the cells (a model, a batch, a number of threads); models.py exports and converts into a
cache; peers.py is the table of what can be measured; processes.py starts one measurement in a process of its own and returns its
record; worker.py and the engine_*.py are the inside of that process for the peers; rounds.py alternates and repeats; compare.py
judges outputs; figures.py takes medians; report.py and chart.py show them.
"""
