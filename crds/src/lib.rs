//! KafkaTopic and EventPipeline: the types of tidegate.dev/v1alpha1 and their generated YAML.
