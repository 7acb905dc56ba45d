"""Who reaches whom right now, measured among the pods that are there, of which nothing is changed.

`census` who is there · `visits` asking from their containers · `words` what an answer is worth when the server is a
stranger · `measure` all of it together, with the oracle's word beside.
"""
