"""Plotly figures from data; no Streamlit here."""
