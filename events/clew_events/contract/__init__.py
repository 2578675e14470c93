"""The contract for programs in other languages: JSON Schema, AsyncAPI and examples."""
