"""Curation: which samples there are, and how they are learned.

memory/   memory levels of facts: how well the untuned model knows them
"""
