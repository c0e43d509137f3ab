//! Every event, envelope and header on a topic.
