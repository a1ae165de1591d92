"""A study in the field: phones that live, lose their network and their memory, and deliver what they hold."""
