-- The licence that a picture's file names: an SPDX identifier or an address; empty when it names none.
alter table images add column licence text not null default '';
