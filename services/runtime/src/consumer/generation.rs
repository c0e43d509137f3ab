//! The generation of a projection: a replay begins one. What was made in the one before is removed, in one transaction with the offsets,
//! and whoever still works in that one writes nothing any more.

use sqlx::{PgConnection, PgPool};
use tidegate_settings::Generation;

use super::{HandlerError, Projection};
use crate::crash_point;

/// Why a projection cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum GenerationError {
    /// Another replay has begun since; a process that was told of that one goes on.
    #[error("group {group} is in generation {current:?} by now, and this process is of {asked:?}, which was before it")]
    Superseded {
        /// The group.
        group: String,
        /// The generation that the process is of.
        asked: String,
        /// The generation that there is.
        current: String,
    },
    /// What was made before could not be removed.
    #[error("removing what group {group} had made before replay {asked}: {source}")]
    Clear {
        /// The group.
        group: String,
        /// The generation that was to begin.
        asked: String,
        /// What the projection said.
        source: HandlerError,
    },
    /// The database.
    #[error("beginning a generation: {0}")]
    Database(#[from] sqlx::Error),
}

/// What a process that starts is to do.
#[derive(Debug, PartialEq, Eq)]
enum Start {
    /// It is of the present generation, or was told of none.
    GoOn,
    /// It is of a new one.
    Begin,
    /// It is of an earlier one.
    Superseded,
}

fn start(asked: Option<&str>, current: &str, earlier: &[String]) -> Start {
    match asked {
        None => Start::GoOn,
        Some(asked) if asked == current => Start::GoOn,
        Some(asked) if earlier.iter().any(|before| before == asked) => Start::Superseded,
        Some(_) => Start::Begin,
    }
}

/// Begins the generation that the settings name, unless it has begun, before the first record is read; the generation that there is
/// then. A process that is told of none works in the present one. Of several that start together one does it, and the others wait.
pub async fn begin<P: Projection>(
    pool: &PgPool,
    group: &str,
    asked: Option<&Generation>,
    projection: &P,
) -> Result<Generation, GenerationError> {
    let mut transaction = pool.begin_with("BEGIN; SET LOCAL lock_timeout = '30s'").await?;
    sqlx::query("INSERT INTO tidegate.projection_generations (consumer_group) VALUES ($1) ON CONFLICT DO NOTHING")
        .bind(group)
        .execute(&mut *transaction)
        .await?;
    let (current, earlier): (String, Vec<String>) = sqlx::query_as(
        "SELECT generation, earlier FROM tidegate.projection_generations WHERE consumer_group = $1 FOR UPDATE",
    )
    .bind(group)
    .fetch_one(&mut *transaction)
    .await?;
    let began = match (start(asked.map(|asked| asked.id.as_str()), &current, &earlier), asked) {
        (Start::Begin, Some(asked)) => {
            replace(&mut transaction, group, &asked.id).await?;
            projection.clear(&mut transaction).await.map_err(|source| GenerationError::Clear {
                group: group.to_owned(),
                asked: asked.id.clone(),
                source,
            })?;
            tracing::warn!(group, before = current, now = asked.id, "a replay: everything is made anew");
            asked.clone()
        }
        (Start::Superseded, Some(asked)) => {
            return Err(GenerationError::Superseded { group: group.to_owned(), asked: asked.id.clone(), current });
        }
        (_, Some(asked)) => asked.clone(),
        (_, None) => Generation { id: current, ..Generation::default() },
    };
    crash_point!("consumer::cleared");
    transaction.commit().await?;
    Ok(began)
}

/// The offsets first: who is in the middle of a batch holds one, and is waited for.
async fn replace(connection: &mut PgConnection, group: &str, generation: &str) -> Result<(), sqlx::Error> {
    sqlx::query(
        "UPDATE tidegate.projection_generations SET generation = $2, earlier = array_append(earlier, generation), begun_at = now()
         WHERE consumer_group = $1",
    )
    .bind(group)
    .bind(generation)
    .execute(&mut *connection)
    .await?;
    sqlx::query("DELETE FROM tidegate.projection_offsets WHERE consumer_group = $1")
        .bind(group)
        .execute(connection)
        .await?;
    Ok(())
}

/// Keeps the generation from ending while the transaction lasts; false if it has ended. For those who write a projection's rows beside
/// its records: a rebuild from elsewhere.
pub async fn hold(connection: &mut PgConnection, group: &str, generation: &Generation) -> Result<bool, sqlx::Error> {
    let current: Option<String> = sqlx::query_scalar(
        "SELECT generation FROM tidegate.projection_generations WHERE consumer_group = $1 FOR SHARE",
    )
    .bind(group)
    .fetch_optional(connection)
    .await?;
    Ok(current.unwrap_or_default() == generation.id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_generation_begins_once_and_never_comes_back() {
        let earlier = ["".to_owned(), "a".to_owned()];
        for (asked, start_is) in
            [(None, Start::GoOn), (Some("b"), Start::GoOn), (Some("a"), Start::Superseded), (Some("c"), Start::Begin)]
        {
            assert_eq!(start(asked, "b", &earlier), start_is, "{asked:?}");
        }
        assert_eq!(start(Some("a"), "", &[]), Start::Begin);
    }
}
