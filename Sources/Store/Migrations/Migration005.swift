import Postgres

extension Migrations {
    static let migration005 = PostgresMigration(
        number: 5, name: "how slugs came to be",
        sql: """
            -- Beside the builds, which are listed often: it may name thousands of files.
            create table build_provenance (
                build_id uuid primary key references builds on delete cascade,
                provenance jsonb not null
            );

            -- Of each app by itself: whoever builds an equal tree must not be able to change what others read about theirs.
            create table slug_evidence (
                app_id uuid not null references apps on delete cascade,
                slug text not null references slugs on delete cascade,
                provenance jsonb not null,
                bill bytea,
                primary key (app_id, slug)
            );
            create index slug_evidence_by_slug on slug_evidence (slug);

            alter table builds add column compared jsonb;
            -- Buildpacks for the app's list once the build has succeeded.
            alter table builds add column pins jsonb;
            create index builds_by_commit on builds (app_id, (source->>'commit')) where state = 'succeeded';
            """)
}
