//! How the lists and maps of Kubernetes objects merge: the list types and merge keys of the API reference, as one table.
