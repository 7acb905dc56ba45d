"""Who reaches whom among the pods that are there: census, words, and measuring with visitors that really run."""
