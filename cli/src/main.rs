//! `kubectl tidegate`: how pipelines do, for people on a terminal and, with `-o json`, for scripts.

mod bytes;
mod change;
mod cluster;
mod dead_letters;
mod error;
mod lag;
mod metrics;
mod operator;
mod out;
mod render;
mod status;
mod table;
#[cfg(test)]
mod testing;

use std::{path::PathBuf, process::ExitCode, time::Duration};

use clap::{Args, Parser, Subcommand, ValueEnum};
use jiff::Timestamp;

use crate::{
    change::{Change, From},
    cluster::{Cluster, Scope},
    error::Error,
    operator::Operator,
    out::Out,
};

#[derive(Parser)]
#[command(
    name = "kubectl tidegate",
    bin_name = "kubectl tidegate",
    version,
    about = "How event pipelines do, and what the operator makes of them"
)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// A pipeline as a tree: its processors, their groups, lag, retries, dead letters, replays and redrives, and what is wrong
    Status {
        #[command(flatten)]
        which: Which,
        /// How to show it
        #[arg(short, long, value_enum, default_value_t = Shape::Tree)]
        output: Shape,
    },
    /// Lag of each processor, as the operator reads it every few seconds
    Lag {
        #[command(flatten)]
        which: Which,
        /// Go on until Ctrl-C, a table each time
        #[arg(short, long)]
        watch: bool,
        /// Seconds between tables
        #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=3600))]
        interval: u64,
        #[command(flatten)]
        operator: Operator,
        /// How to show it
        #[arg(short, long, value_enum, default_value_t = Shape::Tree)]
        output: Shape,
    },
    /// Read again from somewhere: a look at what that means, and with --yes the deed
    Replay {
        #[command(flatten)]
        whose: Whose,
        /// earliest, latest, a time (2025-01-31T08:00:00Z), or undo:ID of an earlier replay
        #[arg(long)]
        from: From,
    },
    /// Handle dead letters again: a look at what that means, and with --yes the deed
    Redrive {
        #[command(flatten)]
        whose: Whose,
        /// The most records; 1000 without it
        #[arg(long, value_parser = clap::value_parser!(i64).range(1..))]
        max: Option<i64>,
        /// Only those of this class: Poison, Exhausted, Panic, TooLarge, or one of your program's own
        #[arg(long)]
        error_class: Option<String>,
    },
    /// Dead letters: which there are and why, and what is in one
    #[command(visible_alias = "dlq")]
    DeadLetters {
        #[command(subcommand)]
        look: Look,
    },
    /// What the operator would apply for a file, without a cluster
    Render {
        /// YAML with EventPipelines, and the KafkaTopics that they name; - for standard input
        #[arg(short, long)]
        filename: PathBuf,
        /// Image of a service, as the operator would be installed with it: wallet=registry.example/wallet:1
        #[arg(long = "image", value_name = "SERVICE=IMAGE")]
        images: Vec<String>,
        /// Namespace of what has none
        #[arg(short, long, default_value = "default")]
        namespace: String,
        /// How to show it
        #[arg(short, long, value_enum, default_value_t = Text::Yaml)]
        output: Text,
    },
}

/// A look at dead letters.
#[derive(Subcommand)]
enum Look {
    /// A line for each: where it is, when and why it was given up, where it came from
    List {
        #[command(flatten)]
        whose: dead_letters::Whose,
        #[command(flatten)]
        which: dead_letters::Which,
        /// How to show it
        #[arg(short, long, value_enum, default_value_t = Shape::Tree)]
        output: Shape,
    },
    /// All of one: its key, its value, its headers, and what became of it
    Show {
        #[command(flatten)]
        whose: dead_letters::Whose,
        /// Where it is: PARTITION:OFFSET, or TOPIC/PARTITION:OFFSET as the list has it
        place: dead_letters::Place,
        /// How to show it
        #[arg(short, long, value_enum, default_value_t = Shape::Tree)]
        output: Shape,
    },
}

/// Which pipelines.
#[derive(Args)]
struct Which {
    /// One pipeline; all of the namespace without it
    pipeline: Option<String>,
    /// Namespace; that of the kubeconfig's context without it
    #[arg(short, long, conflicts_with = "all_namespaces")]
    namespace: Option<String>,
    /// Every namespace
    #[arg(short = 'A', long, conflicts_with = "pipeline")]
    all_namespaces: bool,
    /// Context of the kubeconfig
    #[arg(long)]
    context: Option<String>,
}

/// A processor, and a wish about it.
#[derive(Args)]
struct Whose {
    /// The pipeline
    pipeline: String,
    /// The processor
    processor: String,
    /// Names the wish: it is done once for each id
    #[arg(long)]
    id: String,
    /// Namespace; that of the kubeconfig's context without it
    #[arg(short, long)]
    namespace: Option<String>,
    /// Context of the kubeconfig
    #[arg(long)]
    context: Option<String>,
    /// Do it
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    operator: Operator,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Shape {
    /// For people
    Tree,
    /// For scripts: one document
    Json,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Text {
    /// Documents one after another
    Yaml,
    /// One list
    Json,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let mut out = Out::stdout();
    match run(Arguments::parse().command, &mut out).await {
        // Whoever read us has read enough.
        Ok(()) | Err(Error::Closed) => ExitCode::SUCCESS,
        Err(error) => {
            out::complain(&error.to_string());
            ExitCode::FAILURE
        }
    }
}

async fn run(command: Command, out: &mut Out) -> Result<(), Error> {
    match command {
        Command::Status { which, output } => {
            let pipelines = Cluster::connect(which.context.as_deref()).await?.pipelines(&which.scope()).await?;
            match output {
                Shape::Json => out.json(&status::json(&pipelines)),
                Shape::Tree => out.text(&status::tree(&pipelines, Timestamp::now(), out.paint())),
            }
        }
        Command::Lag { which, watch, interval, operator, output } => {
            let cluster = Cluster::connect(which.context.as_deref()).await?;
            loop {
                let pipelines = cluster.pipelines(&which.scope()).await?;
                let lines = lag::read(&cluster, &operator, &pipelines).await?;
                match output {
                    Shape::Json => out.json(&lag::json(&lines))?,
                    Shape::Tree => out.text(&lag::table_of(&lines, out.paint()))?,
                }
                if !watch {
                    return Ok(());
                }
                tokio::time::sleep(Duration::from_secs(interval)).await;
                if output == Shape::Tree {
                    out.text("\n")?;
                }
            }
        }
        Command::Replay { ref whose, from } => whose.change(Change::Replay { id: whose.id.clone(), from }, out).await,
        Command::Redrive { ref whose, max, error_class } => {
            whose.change(Change::Redrive { id: whose.id.clone(), max, error_class }, out).await
        }
        Command::DeadLetters { look: Look::List { whose, which, output } } => {
            dead_letters::list(&whose, &which, output == Shape::Json, out).await
        }
        Command::DeadLetters { look: Look::Show { whose, place, output } } => {
            dead_letters::show(&whose, &place, output == Shape::Json, out).await
        }
        Command::Render { filename, images, namespace, output } => {
            let rendered = render::file(&filename, &images, &namespace)?;
            rendered.assumed.iter().for_each(|assumed| out::complain(&format!("assumed: {assumed}")));
            match output {
                Text::Json => out.json(&serde_json::Value::Array(rendered.objects)),
                Text::Yaml => out.text(&render::yaml(&rendered.objects)?),
            }
        }
    }
}

impl Which {
    fn scope(&self) -> Scope<'_> {
        Scope {
            pipeline: self.pipeline.as_deref(),
            namespace: self.namespace.as_deref(),
            everywhere: self.all_namespaces,
        }
    }
}

impl Whose {
    /// Shows what it means, or does it.
    async fn change(&self, change: Change, out: &mut Out) -> Result<(), Error> {
        let cluster = Cluster::connect(self.context.as_deref()).await?;
        let scope = Scope { pipeline: Some(&self.pipeline), namespace: self.namespace.as_deref(), everywhere: false };
        for pipeline in &cluster.pipelines(&scope).await? {
            change::check(&change, pipeline, &self.processor)?;
            if self.yes {
                change::apply(&cluster, pipeline, &self.processor, &change).await?;
                out.text(&format!("asked for; `kubectl tidegate status {}` shows how far it is\n", self.pipeline))?;
            } else {
                // A preview without numbers is one still.
                let samples = lag::samples_of(&cluster, &self.operator).await.unwrap_or_default();
                out.text(&change.preview(pipeline, &self.processor, &samples))?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        super::Arguments::command().debug_assert();
    }
}
