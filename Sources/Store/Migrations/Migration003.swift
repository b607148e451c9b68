import Postgres

extension Migrations {
    static let migration003 = PostgresMigration(
        number: 3, name: "what operations are about, what was routed, whose process types are whose",
        sql: """
            alter table operations add column scope jsonb not null default '[]';

            -- Of what runs already nobody knows; a process that was never routed only leaves a little later.
            alter table instances add column was_routed boolean not null default true;
            alter table instances alter column was_routed set default false;

            -- Equal trees of different apps share a slug, but neither their process types nor their stack.
            alter table builds add column process_types jsonb;
            update builds b set process_types = s.process_types from slugs s where s.digest = b.slug;
            alter table slugs drop column process_types, drop column stack;

            alter table routers add column start text not null default '';
            alter table routers add column sequence bigint not null default 0;

            -- Public ports that a router could not open, so that they are not given to the next who asks.
            create table refused_ports (
                public_port bigint primary key,
                refused_at timestamptz not null
            );
            """)
}
