//! A file as the operator would make it, by the operator's own functions.

use std::{collections::BTreeMap, io::Read, path::Path};

use serde_json::Value;
use tidegate_crds::{EventPipeline, KafkaTopic};
use tidegate_operator::{
    config::ImageConfig,
    pipeline::render::{Rendered, render},
};

use crate::error::Error;

/// Renders every EventPipeline of a file.
pub fn file(path: &Path, images: &[String], namespace: &str) -> Result<Rendered, Error> {
    let text = if path == Path::new("-") {
        let mut text = String::new();
        std::io::stdin().read_to_string(&mut text).map(|_| text)
    } else {
        std::fs::read_to_string(path)
    };
    let text = text.map_err(|source| Error::Read { path: path.to_owned(), source })?;
    rendered(path, &text, &parsed_images(images)?, namespace)
}

fn parsed_images(images: &[String]) -> Result<BTreeMap<String, ImageConfig>, Error> {
    let one = |argument: &String| match argument.split_once('=') {
        Some((service, image)) if !service.is_empty() && !image.is_empty() => {
            Ok((service.to_owned(), ImageConfig { image: image.to_owned(), pull_policy: None }))
        }
        _ => Err(Error::Image(argument.clone())),
    };
    images.iter().map(one).collect()
}

fn rendered(
    path: &Path,
    text: &str,
    images: &BTreeMap<String, ImageConfig>,
    namespace: &str,
) -> Result<Rendered, Error> {
    let (mut topics, mut pipelines) = (Vec::<KafkaTopic>::new(), Vec::<EventPipeline>::new());
    let documents: Vec<Value> = serde_saphyr::from_multiple(text).map_err(|error| Error::Document {
        path: path.to_owned(),
        document: 1,
        message: error.to_string(),
    })?;
    for (index, mut document) in documents.into_iter().enumerate() {
        let wrong = |error: serde_json::Error| Error::Document {
            path: path.to_owned(),
            document: index + 1,
            message: error.to_string(),
        };
        if document.is_object() && document["metadata"]["namespace"].is_null() {
            document["metadata"]["namespace"] = namespace.into();
        }
        match document["kind"].as_str() {
            Some("KafkaTopic") => topics.push(serde_json::from_value(document).map_err(wrong)?),
            Some("EventPipeline") => pipelines.push(serde_json::from_value(document).map_err(wrong)?),
            // A file may hold Secrets and Namespaces too: they are somebody else's to apply.
            _ => {}
        }
    }
    if pipelines.is_empty() {
        return Err(Error::NothingToRender(path.to_owned()));
    }
    let mut all = Rendered::default();
    for pipeline in &pipelines {
        let name = || pipeline.metadata.name.clone().unwrap_or_default();
        let one = render(pipeline, &topics, images).map_err(|source| Error::Render { pipeline: name(), source })?;
        all.objects.extend(one.objects);
        all.assumed.extend(one.assumed);
    }
    Ok(all)
}

/// The objects as YAML documents.
pub fn yaml(objects: &[Value]) -> Result<String, Error> {
    let mut text = String::new();
    for object in objects {
        let document = serde_saphyr::to_string(object);
        let document =
            document.map_err(|error| Error::Kubernetes { doing: "writing YAML", said: error.to_string() })?;
        text.push_str("---\n");
        text.push_str(&document);
        if !text.ends_with('\n') {
            text.push('\n');
        }
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXAMPLE: &str = include_str!("../../docs/examples/python-consumer/pipeline.yaml");

    #[test]
    fn the_documented_example_renders_to_what_reads_back() {
        let rendered = rendered(Path::new("pipeline.yaml"), EXAMPLE, &BTreeMap::new(), "default").unwrap();
        assert_eq!(rendered.assumed.len(), 1, "{:?}", rendered.assumed);
        let text = yaml(&rendered.objects).unwrap();
        let back: Vec<Value> = serde_saphyr::from_multiple(&text).unwrap();
        assert_eq!(back, rendered.objects);
        let kinds: Vec<&str> = back.iter().filter_map(|object| object["kind"].as_str()).collect();
        assert_eq!(kinds[..5], ["KafkaTopic", "ServiceAccount", "ConfigMap", "PodDisruptionBudget", "Deployment"]);
        assert!(back.iter().all(|object| object["metadata"]["namespace"] == "shop"));
    }

    #[test]
    fn what_is_wrong_names_the_document_or_the_argument() {
        let said =
            |text: &str| rendered(Path::new("f.yaml"), text, &BTreeMap::new(), "default").unwrap_err().to_string();
        assert!(said("kind: Namespace\n").contains("f.yaml holds no EventPipeline"));
        let wallet = EXAMPLE.replace("        container:\n", "        wallet: {role: Publisher}\n        container:\n");
        assert!(said(&wallet).contains("document 3"), "two programs are one too many: {}", said(&wallet));
        let typo = EXAMPLE.replace("consumes: {topics", "consumes: {topcs");
        assert!(said(&typo).contains("document 3") && said(&typo).contains("topics"), "{}", said(&typo));
        let error = parsed_images(&["wallet".to_owned()]).unwrap_err().to_string();
        assert!(error.contains("SERVICE=IMAGE"), "{error}");
    }
}
