"""The evaluation of a model: answers, scores, comparison with the champion, page and plots."""
