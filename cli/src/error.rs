//! What goes wrong, each with what to do about it.

use std::{io, path::PathBuf};

use tidegate_operator::pipeline::render::RenderError;

/// Why the program cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nobody reads any more: no failure.
    #[error("nobody reads what is written")]
    Closed,
    /// Standard output does not take it.
    #[error("writing to standard output: {0}")]
    Write(io::Error),
    /// There is no way to a cluster.
    #[error(
        "no way to a cluster: {0}\n  -> set KUBECONFIG, or name a context that `kubectl config get-contexts` lists in --context"
    )]
    Kubeconfig(String),
    /// The cluster does not answer.
    #[error("the Kubernetes API does not answer: {0}\n  -> `kubectl version` shows whether it is there")]
    Unreachable(String),
    /// The kind is not served.
    #[error(
        "this cluster knows no EventPipeline\n  -> install the chart tidegate-crds, or choose another cluster with --context"
    )]
    NoKind,
    /// Rights are missing.
    #[error("not allowed: {0}\n  -> `kubectl auth can-i get eventpipelines.tidegate.dev -A` shows what you may read")]
    Forbidden(String),
    /// There is no such pipeline.
    #[error("there is no EventPipeline {name} in namespace {namespace}\n  -> {instead}")]
    NoPipeline {
        /// Its name.
        name: String,
        /// Where it was looked for.
        namespace: String,
        /// What there is.
        instead: String,
    },
    /// There is no such processor.
    #[error("{pipeline} has no processor {processor}\n  -> it has {instead}")]
    NoProcessor {
        /// Its name.
        processor: String,
        /// Of which pipeline.
        pipeline: String,
        /// What there is.
        instead: String,
    },
    /// There are no dead letters to look at.
    #[error("{said}\n  -> {instead}")]
    NoDeadLetters {
        /// What there is not.
        said: String,
        /// What there is.
        instead: String,
    },
    /// There is no such dead letter.
    #[error("{0}\n  -> `kubectl tidegate dead-letters list` shows what there is; retention removes what is old")]
    NoDeadLetter(String),
    /// Rights to see dead letters are missing.
    #[error(
        "not allowed: {said}\n  -> dead letters are shown to who may act as the processor: `kubectl auth can-i create serviceaccounts/{account} --subresource=token -n {namespace}`, and may get pods/proxy where the operator is"
    )]
    MayNotSee {
        /// What the API server said.
        said: String,
        /// The processor's ServiceAccount.
        account: String,
        /// Its namespace.
        namespace: String,
    },
    /// The operator does not show any.
    #[error(
        "the operator does not show dead letters\n  -> it is older than this program, or its chart's values say deadLetters.show: false"
    )]
    NotShown,
    /// An id that was used.
    #[error("id {id} was used before ({phase}), and nothing is done twice for an id\n  -> choose another --id")]
    IdUsed {
        /// The id.
        id: String,
        /// What became of it.
        phase: String,
    },
    /// The API server says something else.
    #[error("{doing}: {said}")]
    Kubernetes {
        /// What was being done.
        doing: &'static str,
        /// What it said.
        said: String,
    },
    /// A file cannot be read.
    #[error("reading {}: {source}", .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A document is not what it should be.
    #[error("{}, document {document}: {message}", .path.display())]
    Document {
        /// The file.
        path: PathBuf,
        /// Its place in the file, from 1.
        document: usize,
        /// What is wrong.
        message: String,
    },
    /// There is nothing to render.
    #[error("{} holds no EventPipeline\n  -> give it a file with one, and with the KafkaTopics that it names", .0.display())]
    NothingToRender(PathBuf),
    /// An argument means nothing.
    #[error("--image {0:?} is not understood\n  -> write SERVICE=IMAGE, for example wallet=registry.example/wallet:1")]
    Image(String),
    /// The operator would refuse a pipeline.
    #[error("EventPipeline {pipeline}: {source}{}", remedy(.source))]
    Render {
        /// Its name.
        pipeline: String,
        /// Why.
        source: RenderError,
    },
}

impl Error {
    /// What the client of the API server says, as one of ours.
    pub fn kubernetes(doing: &'static str) -> impl FnOnce(kube::Error) -> Self {
        move |error| match error {
            kube::Error::Api(status) if status.code == 403 || status.code == 401 => Self::Forbidden(status.message),
            kube::Error::Api(status) => Self::Kubernetes { doing, said: status.message },
            other => Self::Unreachable(whole(&other)),
        }
    }
}

/// What to do about it here, where that is another thing than in a cluster.
fn remedy(error: &RenderError) -> &'static str {
    match error {
        RenderError::Refused { reason, .. } if reason == "ImageUnknown" => {
            "\n  -> or name the one that the operator would be installed with: --image SERVICE=IMAGE"
        }
        _ => "",
    }
}

/// An error with its causes: a client's own words often stop at "service error".
fn whole(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        cause = error.source();
    }
    text
}
