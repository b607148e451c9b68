import Postgres

extension Migrations {
    static let migration006 = PostgresMigration(
        number: 6, name: "runs of releases, and what app.json says",
        sql: """
            -- One row for each run that a release is to have, with what became of it.
            create table release_runs (
                app_id uuid not null,
                version bigint not null,
                kind text not null,
                state text not null,
                command text not null,
                instance_id uuid,
                exit_code bigint,
                reason text,
                output text,
                started_at timestamptz,
                finished_at timestamptz,
                primary key (app_id, version, kind),
                foreign key (app_id, version) references releases (app_id, version) on delete cascade
            );
            create index release_runs_unfinished on release_runs (app_id) where state in ('pending', 'running');

            -- Goes along with the slug: into rollbacks, and with a change of config.
            alter table releases add column manifest jsonb not null default '{"uptimeSeconds": {}}';
            -- All of app.json that is used; null: there was none.
            alter table builds add column manifest jsonb;

            -- What app.json gave an app already; it is not given again to whoever took it away.
            alter table apps add column manifest_applied jsonb not null
                default '{"variables": [], "ports": [], "declaresPorts": false}';
            -- Written by a user. Of what is there already nobody knows.
            alter table formation_entries add column by_hand boolean not null default true;
            alter table formation_entries alter column by_hand set default false;

            -- Process types once, names of runs now: what goes on in them ends, and nothing starts them again.
            delete from formation_entries where type in ('release', 'postdeploy');
            delete from slots where type in ('release', 'postdeploy');
            """)
}
