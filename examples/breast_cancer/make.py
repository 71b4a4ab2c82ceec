"""Writes tumours.csv: 569 tumours, 30 measurements of each, malignant or benign.

They are scikit-learn's (Street, Wolberg & Mangasarian 1993), so nothing is downloaded.
"""

from sklearn.datasets import load_breast_cancer

tumours = load_breast_cancer(as_frame=True)
names = tumours.target_names[tumours.target]
tumours.frame.assign(target=names).to_csv("tumours.csv", index=False)
